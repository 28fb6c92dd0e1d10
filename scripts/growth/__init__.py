"""What do the stages other than training cost, in time and memory, as rows, members, folds and images grow?

    python scripts/growth                                      # docs/growth.json, docs/growth.png
    python scripts/growth --rows 1000 10000 --to somewhere
    python scripts/growth --only rows --to elsewhere           # one of rows, members, folds, image, most

Around a base of the middle number of rows, 5 members, 5 folds and 28 x 28, one number varies at a time;
`most` is the largest number of rows with 25 members. There are as many test rows as training rows. Each
measurement is a command of softvote in a process of its own, start-up included: `s` is seconds of the clock,
which other work on the machine makes longer, `core s` seconds of the processor's cores, MiB the largest
resident set. `read` and `read again` are the reader and the parsed arrays it left; `train` finds every
training done, and puts the folds of each member together.

No network is trained. Probabilities are a seeded softmax of noise around the true label, about 98 % right for
one member, with noise that the members share; they are written as trainings write them. The images are the
digits of input/digit-recognizer, or those that come with scikit-learn, each time rotated, scaled, shifted and
bent anew, so that a repeated digit is another image; larger images show several.

The exponent is the slope of log core seconds over log rows, members, folds or pixels between the two largest:
1 is linear, and a start-up that still counts makes it smaller.
"""
