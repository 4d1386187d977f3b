"""One reader a file form. The files are a user's: untrusted, limited in size, never unpickled."""
