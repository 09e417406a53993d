"""Models on disk: a folder with ``card.json`` and ``weights.safetensors``, found by kind and name.

    LIBRARY/<kind>/<name>/card.json + weights.safetensors

The first library that has a model wins: ``--library``, ``$GANSEP_LIBRARY``, the user's data folder, the models
that came with the package. Weights are safetensors, checked against the card's SHA-256; a pickle is never loaded.
Finding, listing and reading cards needs no torch, which these modules therefore import where weights are touched.
"""

from gansep.library.card import CARD, SOUNDS, WEIGHTS, Card, Found, read_card
from gansep.library.dictionary import Dictionary, load_dictionary
from gansep.library.prior import Prior, installed_priors, load_listener, load_prior, verify
from gansep.library.search import find_model, find_models, is_writable, models_in, search_path, writable_library
from gansep.library.separation import TrainedSeparator, find_separator, load_separation
from gansep.library.weights import load_weights, save_model

__all__ = [
    "CARD",
    "SOUNDS",
    "WEIGHTS",
    "Card",
    "Dictionary",
    "Found",
    "Prior",
    "TrainedSeparator",
    "find_model",
    "find_models",
    "find_separator",
    "installed_priors",
    "is_writable",
    "load_dictionary",
    "load_listener",
    "load_prior",
    "load_separation",
    "load_weights",
    "models_in",
    "read_card",
    "save_model",
    "search_path",
    "verify",
    "writable_library",
]
