"""Everything secret: sealed records, the refresh, connecting, the stores, and the keeper in front of them."""
