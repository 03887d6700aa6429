"""Where sealed records are kept. One contract (`base.py`), one suite of tests for all (tests/vault/test_stores.py)."""
