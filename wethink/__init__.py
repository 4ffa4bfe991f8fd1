"""WeThink library: from plain images to an evaluated vision-language reasoning model.

It holds data, models and maths; adapters to orchestrators and trackers are in `tasks/`, flows in `flows/`.

Order of the packages: common, config, data, clients, rewards, synthesis, curation, models, training, generation,
rl, evaluation, experiments, retraining, report, export, dag, cli. Each imports only those before it.
"""

__version__ = "0.1.0"
