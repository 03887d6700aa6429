"""Put a token on a request: httpx, requests, aiohttp, hop by hop."""
