"""One file a twistd command: Options and makeService. The only room that finds the reactor by itself."""
