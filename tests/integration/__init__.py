"""The only tests with sockets and processes."""
