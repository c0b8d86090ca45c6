"""Trained models behind HTTP: a queue of requests, a server for programs, and a page for people."""
