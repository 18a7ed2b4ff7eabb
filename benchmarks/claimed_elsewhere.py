"""The claims of the papers beside those on Linguistic Correlation Analysis, for `benchmarks.claims`."""

from benchmarks.claimed_control import tense_before, translated_over_zeroed
from benchmarks.claimed_rankings import agree_most_and_least, gained_by_the_worse_probe, told_by_tens
from benchmarks.claimed_readings import (
    kept_by_a_tenth,
    lead,
    matched_neurons,
    raw_differs,
    redundant,
    selective,
    sizes_below,
    two_layers,
)
from benchmarks.claimed_results import claim

DALVI20, ANTVERG22, FAN23, BAU19 = "Dalvi 2020", "Antverg 2022", "Fan 2023", "Bau 2019"
HENNIGEN20, SAJJAD22, HEWITT19 = "Torroba Hennigen 2020", "Sajjad 2022", "Hewitt 2019"

OTHER_CLAIMS = (
    claim(
        ANTVERG22,
        "A.1",
        "the order by mean magnitude beats the mass order",
        "trained again, 10 %: magnitude less mass",
        lead("retrained", 0.1, "top over magnitude", turned=True),
    ),
    claim(
        ANTVERG22,
        "section 3",
        "a probe that is good does not make a good ranking",
        "ranking of the worse probe less that of the better one, mean accuracy of both probes",
        gained_by_the_worse_probe,
        published="14 combinations of probe and ranking",
    ),
    claim(
        ANTVERG22,
        "section 4",
        "shifting neurons by class means changes words more often than zeroing them",
        "answers that translating 50 neurons of the middle layer changes, less those that zeroing changes",
        translated_over_zeroed,
        published="Spanish gender .49 and .01 (with the right lemma .37 and .00)",
    ),
    claim(
        HENNIGEN20,
        "Figure 2",
        "some tens of neurons hold most of what a layer tells of a property",
        "share of a layer's bits in its first 35 neurons less one half",
        told_by_tens,
        published="mBERT: about .42 of .44 normalised bits with 30 of 50 neurons",
    ),
    claim(
        BAU19,
        "section 5",
        "neurons of one model are found again in others",
        "share of the neurons whose best partner is above chance, less .05",
        matched_neurons,
    ),
    claim(
        BAU19,
        "section 6",
        "tense is easier to control than number and gender",
        "translations that reach the other tense, less those that reach the other number, or gender",
        tense_before("number", "gender"),
        published="tense .67 and .49, number .37, gender .21",
    ),
    claim(
        FAN23,
        "Table 2",
        "LCA and Probeless agree most with the other methods, Gaussian least",
        "mean overlap of LCA and Probeless less the largest of lasso, ridge, IoU; the least of these less Gaussian's",
        agree_most_and_least,
        published="Probeless .269, LCA .258, Gaussian .086",
    ),
    claim(
        DALVI20,
        "abstract",
        "85 % of the neurons are redundant in general",
        "neurons beyond one a cluster (|r| ≥ .7), less .85",
        redundant,
        published=".85",
    ),
    claim(
        DALVI20,
        "abstract",
        "92 % can be removed for a task",
        ".08 less the minimal set's share",
        sizes_below(0.08),
        published=".92 or more",
    ),
    claim(
        DALVI20,
        "abstract",
        "a tenth of the neurons keeps 97 % of the accuracy",
        "trained again, 10 %: .03 of all's accuracy less the loss",
        kept_by_a_tenth,
        published=".97",
    ),
    claim(
        DALVI20,
        "Table 1",
        "the two lowest layers are within 2 % for POS",
        ".02 of all's accuracy less the loss of layers 0 and 1",
        two_layers,
        published="BERT .948 of .952",
    ),
    claim(
        SAJJAD22,
        "section 4",
        "scaling the neurons changes in which layers they are found",
        "size of the move of the mean layer",
        raw_differs,
    ),
    claim(
        HEWITT19,
        "section 4",
        "linear probes are selective",
        "accuracy less that of the control task",
        selective,
    ),
)
