//! Small client: tables of resources on the command line.
