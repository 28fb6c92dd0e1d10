"""How much faster than the loop of most notebooks does softvote train, as well, and how soon is there a vote?

    python scripts/benchmark                                  # speed: benchmark.json, benchmark.png
    python scripts/benchmark --networks cnn resnet5 --repeats 5 --seconds 20
    python scripts/benchmark --accuracy --networks cnn        # accuracy.json
    python scripts/benchmark --to-vote                        # vote.json

Speed. Two loops train the same network on the same images, with the same ranges of rotation, shift and zoom:
(a) stock: float32, batches of 64 from a DataLoader with two workers, RandomAffine on PIL images, ToTensor,
    Normalize, Adam at 1e-3, cross-entropy; written out in stock.py, in one process with torch's own threads.
(b) ours: softvote.training.train with the member's recipe from pipelines/, less shear and elastic, which (a)
    lacks; in as many processes at once, with as many threads, as the local engine gives the pipeline.
The networks are softvote's in both; in (a) cnn and big_kernel_cnn have ReLU before pooling, as people write
them. slot_cnn learns digits from sums: in both, the loss is cross-entropy over the 37 sums, through
softvote's `digits` head.
Processes start and warm up once per network; then a and b work by turns, `repeats` times, so that what else
the machine does hits both. A lap is some steps that do not count, then `seconds` that do. Errors are standard
errors of the mean over repeats. A process's memory is its largest resident set, summed over the loop's
processes; pages that they share count in each.

Where (b)'s time goes is told by a lap of its own, in one process of one thread, in which Training's own
functions note when they begin and end. The machine's limit is the rate of one large 3 x 3 convolution, 64 to
64 channels, in (b)'s precision, processes and threads; an image costs three times its forward convolutions.

Accuracy: both loops train from the same seeds for the same epochs on the same slice of real digits, and name
the same digits held out. To-vote: from CSV files to a vote of the heterogeneous five that learnt four fifths,
by softvote's own commands in a temporary folder; beside it, what 30 epochs of the stock loop would take.

Tried on two cores of an AMD EPYC with bf16 instructions. Speed takes about three minutes per network as it
stands, accuracy half an hour in all, to-vote twelve minutes. Without input/digit-recognizer it takes the
digits that come with scikit-learn, enlarged to 28 x 28, and says so.
"""
