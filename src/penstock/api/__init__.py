"""One function per operation. They record wishes and read what is on record; they start nothing."""
