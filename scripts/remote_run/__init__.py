"""Train pipelines on a machine with a GPU and without a network, and bring home everything but the weights.

    python scripts/remote_run pack digit-recognizer --data digit-recognizer.zip --to packed
    bash packed/run.sh OUT 540              # there: data, folds, train, ensemble, submit; 540 seconds in all
    python scripts/remote_run take OUT      # here again

pack lays code, pipelines, competition files, folds that are there already, and the wheels of packages that
such machines lack into one folder of less than 60 MiB. It asks the package index for the wheels, or takes
them from the folder that --wheels names. Data that scripts make of other data (digit-adder, fresh-digits)
are made there, which is quicker than carrying them.

What runs there begins no training that cannot end in time and stops what overstays. Where not all of a
pipeline's trainings are done, the most that are whole vote and are submitted: so many members on so many
folds. It leaves a few files of at most 15 MiB in OUT: results.tar.gz with submissions, ledger, scores,
recipes, logs and tables, and the probabilities of each training in half precision, in four files at most.
What does not go in is named in the log.

take lays them under models/ and submissions/ as if they had been made here, so that rules of the vote can
be compared, mistakes drawn and scores fetched. The weights stay there: each recipe says so, what needs them
fails with that reason, and a training whose recipe changed is due as ever.
"""
