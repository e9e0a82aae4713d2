"""The pure media engine: a local file in, a folder of HLS out.

It knows no database, no bus and no network. Every byte of an upload is parsed in a child process with limits,
never in the process of the caller.
"""
