"""The embedding server: texts over HTTP, each answered as soon as a lane has run it, each with what it really cost."""
