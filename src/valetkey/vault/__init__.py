"""Everything secret: sealed records, the refresh, the schedule, the stores."""
