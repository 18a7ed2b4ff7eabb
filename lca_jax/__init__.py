"""Finds the neurons of a transformer from which a linguistic property can be read, at the speed of its accelerator.

The public names are below. Each is imported from its module when it is first used, so that `import lca_jax` costs
nothing: JAX, Flax and transformers are loaded by the first name that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers and editors, which do not see names that are resolved on use
    from lca_jax import plot as plot
    from lca_jax.analysis.agreement import agreement as agreement
    from lca_jax.analysis.consensus import consensus_votes as consensus_votes
    from lca_jax.analysis.consensus import method_overlap as method_overlap
    from lca_jax.analysis.consensus import neuron_vote as neuron_vote
    from lca_jax.analysis.crossing import cross_readouts as cross_readouts
    from lca_jax.analysis.crossing import signed_rank_tests as signed_rank_tests
    from lca_jax.analysis.curves import keep_curve as keep_curve
    from lca_jax.analysis.depth import depth_profile as depth_profile
    from lca_jax.analysis.information import information_curve as information_curve
    from lca_jax.analysis.localisation import localise as localise
    from lca_jax.analysis.minimal import minimal_neurons as minimal_neurons
    from lca_jax.analysis.neuron_map import map_by_neurons as map_by_neurons
    from lca_jax.analysis.parts import divide_words as divide_words
    from lca_jax.analysis.redundancy import strongest_correlations as strongest_correlations
    from lca_jax.analysis.reliability_validity import reliability_and_validity as reliability_and_validity
    from lca_jax.analysis.relocation import measure_relocation as measure_relocation
    from lca_jax.analysis.samples import fit_samples as fit_samples
    from lca_jax.analysis.samples import rank_samples as rank_samples
    from lca_jax.analysis.shared_neurons import shared_neurons as shared_neurons
    from lca_jax.analysis.similarity import canonical_directions as canonical_directions
    from lca_jax.analysis.similarity import layer_similarity as layer_similarity
    from lca_jax.analysis.spare_sets import best_of_clusters as best_of_clusters
    from lca_jax.analysis.spare_sets import disjoint_sets as disjoint_sets
    from lca_jax.analysis.spare_sets import lower_layers as lower_layers
    from lca_jax.analysis.specificity import language_specificity as language_specificity
    from lca_jax.analysis.stability import measure_stability as measure_stability
    from lca_jax.analysis.transfer import measure_transfer as measure_transfer
    from lca_jax.analysis.validity import validity_curve as validity_curve
    from lca_jax.demo import demo_corpus_file as demo_corpus_file
    from lca_jax.demo import demo_model_folder as demo_model_folder
    from lca_jax.descriptors.describing import Descriptions as Descriptions
    from lca_jax.descriptors.describing import describe_neurons as describe_neurons
    from lca_jax.descriptors.export import write_descriptions as write_descriptions
    from lca_jax.descriptors.finding import PhraseChoice as PhraseChoice
    from lca_jax.descriptors.finding import find_descriptors as find_descriptors
    from lca_jax.descriptors.histograms import class_histograms as class_histograms
    from lca_jax.descriptors.inventory import Descriptors as Descriptors
    from lca_jax.descriptors.inventory import load_descriptors as load_descriptors
    from lca_jax.descriptors.neuron_text import neuron_text as neuron_text
    from lca_jax.descriptors.prompts import Prompt as Prompt
    from lca_jax.descriptors.repeating import TagAgreement as TagAgreement
    from lca_jax.descriptors.repeating import compare_descriptions as compare_descriptions
    from lca_jax.descriptors.scoring import score_descriptions as score_descriptions
    from lca_jax.descriptors.texts import Texts as Texts
    from lca_jax.descriptors.texts import texts_of_store as texts_of_store
    from lca_jax.descriptors.top_words import neuron_cards as neuron_cards
    from lca_jax.descriptors.top_words import top_words as top_words
    from lca_jax.errors import LcaError as LcaError
    from lca_jax.errors import NotConverged as NotConverged
    from lca_jax.exchange.export import write_arrow as write_arrow
    from lca_jax.exchange.export import write_safetensors as write_safetensors
    from lca_jax.exchange.neurox.convert import read_neurox as read_neurox
    from lca_jax.exchange.neurox.convert import write_neurox as write_neurox
    from lca_jax.experiment.config import Experiment as Experiment
    from lca_jax.experiment.config import Study as Study
    from lca_jax.experiment.run import run as run
    from lca_jax.experiment.study import study as study
    from lca_jax.experiment.survey import survey as survey
    from lca_jax.experiment.survey_settings import Survey as Survey
    from lca_jax.extraction.extract import extract as extract
    from lca_jax.extraction.recompute import recompute as recompute
    from lca_jax.gathering.correlate import correlate_models as correlate_models
    from lca_jax.gathering.gather import gather_statistics as gather_statistics
    from lca_jax.interventions.attribution import rank_by_attribution as rank_by_attribution
    from lca_jax.interventions.control.predicted import PredictedWords as PredictedWords
    from lca_jax.interventions.control.property_change import PropertyControl as PropertyControl
    from lca_jax.interventions.control.property_control import control_property as control_property
    from lca_jax.interventions.control.shifts import class_pair as class_pair
    from lca_jax.interventions.control.shifts import shift_neurons as shift_neurons
    from lca_jax.interventions.control.written import WrittenTexts as WrittenTexts
    from lca_jax.interventions.curve import ablation_curve as ablation_curve
    from lca_jax.interventions.edits import ablate as ablate
    from lca_jax.interventions.edits import project_out as project_out
    from lca_jax.interventions.edits import stack_edits as stack_edits
    from lca_jax.interventions.effect import AblationCurve as AblationCurve
    from lca_jax.interventions.harm import rank_by_ablation as rank_by_ablation
    from lca_jax.interventions.measured_edits import MeasuredEdits as MeasuredEdits
    from lca_jax.interventions.measured_edits import measure_edits as measure_edits
    from lca_jax.interventions.measures import MinimalPair as MinimalPair
    from lca_jax.interventions.measures import read_minimal_pairs as read_minimal_pairs
    from lca_jax.interventions.task_probe import ProbeAccuracy as ProbeAccuracy
    from lca_jax.machine.job import join_processes as join_processes
    from lca_jax.models.load import load_model as load_model
    from lca_jax.models.model import Model as Model
    from lca_jax.models.stack.taps import Edit as Edit
    from lca_jax.models.writing.generation import Search as Search
    from lca_jax.models.writing.samples import continuation_log_probabilities as continuation_log_probabilities
    from lca_jax.models.writing.samples import write_samples as write_samples
    from lca_jax.models.writing.sampling import Sampling as Sampling
    from lca_jax.probing.comparison import Comparison as Comparison
    from lca_jax.probing.comparison import evaluate as evaluate
    from lca_jax.probing.fit import fit_elastic_net as fit_elastic_net
    from lca_jax.probing.fit import fit_probes as fit_probes
    from lca_jax.probing.labelling import control_task_of as control_task_of
    from lca_jax.probing.measuring import measured_words as measured_words
    from lca_jax.probing.objective import ElasticNet as ElasticNet
    from lca_jax.probing.probe import Probe as Probe
    from lca_jax.probing.probe_set import ProbeSet as ProbeSet
    from lca_jax.probing.probe_set import load_probes as load_probes
    from lca_jax.ranking.bagged import rank_bagged as rank_bagged
    from lca_jax.ranking.correlated import correlated_groups as correlated_groups
    from lca_jax.ranking.groups import copy_groups as copy_groups
    from lca_jax.ranking.groups import discount_copies as discount_copies
    from lca_jax.ranking.groups import index_groups as index_groups
    from lca_jax.ranking.groups import neurons_of_groups as neurons_of_groups
    from lca_jax.ranking.groups import one_of_each_group as one_of_each_group
    from lca_jax.ranking.lca import neurons_by_class as neurons_by_class
    from lca_jax.ranking.lca import rank_neurons as rank_neurons
    from lca_jax.ranking.methods import rank as rank
    from lca_jax.ranking.probeless import rank_by_means as rank_by_means
    from lca_jax.ranking.ranking import Ranking as Ranking
    from lca_jax.ranking.universal import universal_neurons as universal_neurons
    from lca_jax.ranking.variance import rank_by_variance as rank_by_variance
    from lca_jax.report.descriptions import write_descriptions_page as write_descriptions_page
    from lca_jax.report.page import write_report as write_report
    from lca_jax.store.derived import pair_words as pair_words
    from lca_jax.store.derived import pool_sentences as pool_sentences
    from lca_jax.store.recipe import WordChoice as WordChoice
    from lca_jax.store.shuffled import read_shuffled as read_shuffled
    from lca_jax.store.statistics import Gathering as Gathering
    from lca_jax.store.statistics import Statistics as Statistics
    from lca_jax.store.store import ActivationStore as ActivationStore
    from lca_jax.store.store import open_store as open_store
    from lca_jax.text.columns import read_columns as read_columns
    from lca_jax.text.columns import read_text as read_text
    from lca_jax.text.conllu import read_conllu as read_conllu
    from lca_jax.text.corpus import Corpus as Corpus
    from lca_jax.text.division import divide_corpus as divide_corpus
    from lca_jax.text.division import sentence_ids as sentence_ids
    from lca_jax.text.formats import read_corpus as read_corpus
    from lca_jax.text.json_lines import read_json_lines as read_json_lines
    from lca_jax.text.options import TextOptions as TextOptions
    from lca_jax.text.parallel import read_parallel as read_parallel
    from lca_jax.text.sentences import read_sentences as read_sentences
    from lca_jax.text.trec import read_trec as read_trec
    from lca_jax.text.writing import write_columns as write_columns
    from lca_jax.text.writing import write_conllu as write_conllu
    from lca_jax.text.writing import write_json_lines as write_json_lines
    from lca_jax.training.classify import classify as classify
    from lca_jax.training.language_models import train_language_models as train_language_models
    from lca_jax.training.language_settings import TrainingSettings as TrainingSettings
    from lca_jax.training.language_settings import TranslationSettings as TranslationSettings
    from lca_jax.training.settings import Tuning as Tuning
    from lca_jax.training.translation_models import train_translation_models as train_translation_models
    from lca_jax.training.tune import Tuned as Tuned
    from lca_jax.training.tune import tune as tune

MODULES = {
    "agreement": "analysis.agreement",
    "consensus_votes": "analysis.consensus",
    "method_overlap": "analysis.consensus",
    "neuron_vote": "analysis.consensus",
    "cross_readouts": "analysis.crossing",
    "signed_rank_tests": "analysis.crossing",
    "keep_curve": "analysis.curves",
    "depth_profile": "analysis.depth",
    "information_curve": "analysis.information",
    "localise": "analysis.localisation",
    "minimal_neurons": "analysis.minimal",
    "map_by_neurons": "analysis.neuron_map",
    "divide_words": "analysis.parts",
    "strongest_correlations": "analysis.redundancy",
    "reliability_and_validity": "analysis.reliability_validity",
    "measure_relocation": "analysis.relocation",
    "fit_samples": "analysis.samples",
    "rank_samples": "analysis.samples",
    "shared_neurons": "analysis.shared_neurons",
    "canonical_directions": "analysis.similarity",
    "layer_similarity": "analysis.similarity",
    "best_of_clusters": "analysis.spare_sets",
    "disjoint_sets": "analysis.spare_sets",
    "lower_layers": "analysis.spare_sets",
    "language_specificity": "analysis.specificity",
    "measure_stability": "analysis.stability",
    "measure_transfer": "analysis.transfer",
    "validity_curve": "analysis.validity",
    "demo_corpus_file": "demo",
    "demo_model_folder": "demo",
    "Descriptions": "descriptors.describing",
    "describe_neurons": "descriptors.describing",
    "write_descriptions": "descriptors.export",
    "PhraseChoice": "descriptors.finding",
    "find_descriptors": "descriptors.finding",
    "class_histograms": "descriptors.histograms",
    "Descriptors": "descriptors.inventory",
    "load_descriptors": "descriptors.inventory",
    "neuron_text": "descriptors.neuron_text",
    "Prompt": "descriptors.prompts",
    "TagAgreement": "descriptors.repeating",
    "compare_descriptions": "descriptors.repeating",
    "score_descriptions": "descriptors.scoring",
    "Texts": "descriptors.texts",
    "texts_of_store": "descriptors.texts",
    "neuron_cards": "descriptors.top_words",
    "top_words": "descriptors.top_words",
    "LcaError": "errors",
    "NotConverged": "errors",
    "write_arrow": "exchange.export",
    "write_safetensors": "exchange.export",
    "read_neurox": "exchange.neurox.convert",
    "write_neurox": "exchange.neurox.convert",
    "Experiment": "experiment.config",
    "Study": "experiment.config",
    "run": "experiment.run",
    "study": "experiment.study",
    "survey": "experiment.survey",
    "Survey": "experiment.survey_settings",
    "extract": "extraction.extract",
    "recompute": "extraction.recompute",
    "correlate_models": "gathering.correlate",
    "gather_statistics": "gathering.gather",
    "ablation_curve": "interventions.curve",
    "ablate": "interventions.edits",
    "project_out": "interventions.edits",
    "stack_edits": "interventions.edits",
    "AblationCurve": "interventions.effect",
    "rank_by_ablation": "interventions.harm",
    "rank_by_attribution": "interventions.attribution",
    "MeasuredEdits": "interventions.measured_edits",
    "measure_edits": "interventions.measured_edits",
    "MinimalPair": "interventions.measures",
    "read_minimal_pairs": "interventions.measures",
    "PredictedWords": "interventions.control.predicted",
    "PropertyControl": "interventions.control.property_change",
    "control_property": "interventions.control.property_control",
    "class_pair": "interventions.control.shifts",
    "shift_neurons": "interventions.control.shifts",
    "ProbeAccuracy": "interventions.task_probe",
    "WrittenTexts": "interventions.control.written",
    "join_processes": "machine.job",
    "load_model": "models.load",
    "Model": "models.model",
    "Edit": "models.stack.taps",
    "Search": "models.writing.generation",
    "continuation_log_probabilities": "models.writing.samples",
    "write_samples": "models.writing.samples",
    "Sampling": "models.writing.sampling",
    "Comparison": "probing.comparison",
    "evaluate": "probing.comparison",
    "fit_elastic_net": "probing.fit",
    "fit_probes": "probing.fit",
    "control_task_of": "probing.labelling",
    "measured_words": "probing.measuring",
    "ElasticNet": "probing.objective",
    "Probe": "probing.probe",
    "ProbeSet": "probing.probe_set",
    "load_probes": "probing.probe_set",
    "rank_bagged": "ranking.bagged",
    "correlated_groups": "ranking.correlated",
    "copy_groups": "ranking.groups",
    "discount_copies": "ranking.groups",
    "index_groups": "ranking.groups",
    "neurons_of_groups": "ranking.groups",
    "one_of_each_group": "ranking.groups",
    "neurons_by_class": "ranking.lca",
    "rank_neurons": "ranking.lca",
    "rank": "ranking.methods",
    "rank_by_means": "ranking.probeless",
    "Ranking": "ranking.ranking",
    "universal_neurons": "ranking.universal",
    "rank_by_variance": "ranking.variance",
    "write_descriptions_page": "report.descriptions",
    "write_report": "report.page",
    "pair_words": "store.derived",
    "pool_sentences": "store.derived",
    "WordChoice": "store.recipe",
    "read_shuffled": "store.shuffled",
    "Gathering": "store.statistics",
    "Statistics": "store.statistics",
    "ActivationStore": "store.store",
    "open_store": "store.store",
    "read_columns": "text.columns",
    "read_text": "text.columns",
    "read_conllu": "text.conllu",
    "Corpus": "text.corpus",
    "divide_corpus": "text.division",
    "sentence_ids": "text.division",
    "read_corpus": "text.formats",
    "read_json_lines": "text.json_lines",
    "TextOptions": "text.options",
    "read_parallel": "text.parallel",
    "read_sentences": "text.sentences",
    "read_trec": "text.trec",
    "write_columns": "text.writing",
    "write_conllu": "text.writing",
    "write_json_lines": "text.writing",
    "classify": "training.classify",
    "train_language_models": "training.language_models",
    "train_translation_models": "training.translation_models",
    "TrainingSettings": "training.language_settings",
    "TranslationSettings": "training.language_settings",
    "Tuning": "training.settings",
    "Tuned": "training.tune",
    "tune": "training.tune",
}
"""The module of each public name, below `lca_jax`. A test compares it with the imports above."""

__all__ = [*MODULES]  # pyright: ignore[reportUnsupportedDunderAll] - checkers read the imports above


if not TYPE_CHECKING:  # a checker that sees `__getattr__` would let every misspelt name pass

    def __getattr__(name: str) -> object:
        """Imports a public name on first use.

        Raises:
            AttributeError: There is no such name; the message suggests a similar one.
        """
        if name == "plot":  # figures are functions of a module of their own: `lca.plot.keep_curve`
            return import_module(f"{__name__}.plot")
        if name not in MODULES:
            from difflib import get_close_matches

            similar = get_close_matches(name, MODULES, n=1)
            hint = f". Did you mean: {similar[0]!r}?" if similar else ""
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
        value = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Lists the public names, also those that were not used yet."""
    return sorted({*globals(), *MODULES})
