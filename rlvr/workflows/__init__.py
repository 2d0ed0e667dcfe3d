"""What the commands do, as functions of their configs: train, evaluate, study, distill, and the analyses of samples.

The command line parses words into the configs of ``rlvr.config``, calls these functions and prints what they return; a
user's own program calls them without it.
"""
