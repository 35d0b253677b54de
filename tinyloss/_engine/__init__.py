"""One call, from the caller's arrays to the answer."""
