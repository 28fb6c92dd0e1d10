"""How fast do networks train on this machine's GPU, step by step and recorded, one and several at once?

    python scripts/gpu_benchmark                                       # all, within 85 seconds
    python scripts/gpu_benchmark --networks doucet_resnet cnn --batch 256 --processes 1 3 --to OUT

The steps are those of softvote.training on random images of 28 x 28, 42,000 of them on the device, with the
augmentation of the pipeline digit-recognizer; its networks have its recipes, the wide ones their authors'.
Each network is built once in each of the processes, which take some steps that do not count (in them
convolutions are tried and the step is recorded). Then the first process is timed with steps as they are, and
so many processes as --processes says, side by side, with recorded ones: 100 steps each, within two seconds.
What does not fit into --seconds is left out and named. First of all it is seen that the device draws what the
processor draws, and that recorded steps learn as well as others.

The table is printed and gpu_benchmark.json written. Below it stands what the plan would take: members of so
many trainings and epochs (--plan NAME:TRAININGS:EPOCHS ...), prediction included.
"""
