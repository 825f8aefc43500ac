"""`mld`, and `python -m multilevel_diffusion`: a signal is answered from here on, before the imports that take a second."""

from .interrupts import install


def run() -> None:
    """Run a command of the command line."""
    install()
    from .cli import main

    main()


if __name__ == "__main__":
    run()
