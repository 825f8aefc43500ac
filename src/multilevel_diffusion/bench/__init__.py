"""Speed and memory of our own code, measured in one run against stated baselines on a machine that does nothing else.

`costs` measures the network, `distances` the sliced Wasserstein distance, `solver` the reaction-diffusion solver. They return
tables by title, with numbers not yet rounded; `report.show` prints them. `errors` measures no speed, but how true standard errors
are. `worker` starts the processes in which things are timed.
"""
