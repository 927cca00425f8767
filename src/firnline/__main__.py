"""`python -m firnline`, and with it `torchrun -m firnline`."""

from firnline.cli import main

main()
