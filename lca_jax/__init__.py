"""Finds the neurons of a transformer that carry a linguistic property, at the speed of the accelerator it runs on."""

from lca_jax.activations.extract import extract as extract
from lca_jax.activations.recompute import recompute as recompute
from lca_jax.activations.store import ActivationStore as ActivationStore
from lca_jax.activations.store import open_store as open_store
from lca_jax.analysis.curves import keep_curve as keep_curve
from lca_jax.analysis.minimal import minimal_neurons as minimal_neurons
from lca_jax.errors import LcaError as LcaError
from lca_jax.errors import NotConverged as NotConverged
from lca_jax.experiment.config import Experiment as Experiment
from lca_jax.experiment.run import run as run
from lca_jax.models.model import Model as Model
from lca_jax.models.model import load_model as load_model
from lca_jax.models.taps import Edit as Edit
from lca_jax.probing.fit import fit_elastic_net as fit_elastic_net
from lca_jax.probing.fit import fit_probes as fit_probes
from lca_jax.probing.objective import ElasticNet as ElasticNet
from lca_jax.probing.probe import Probe as Probe
from lca_jax.probing.probe_set import ProbeSet as ProbeSet
from lca_jax.probing.probe_set import load_probes as load_probes
from lca_jax.ranking.lca import rank_neurons as rank_neurons
from lca_jax.ranking.ranking import Ranking as Ranking
from lca_jax.report.page import write_report as write_report
from lca_jax.text.corpus import Corpus as Corpus
from lca_jax.text.readers import read_columns as read_columns
from lca_jax.text.readers import read_conllu as read_conllu
from lca_jax.text.readers import read_text as read_text
