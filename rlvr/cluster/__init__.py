"""Ray: rollout and learner pools behind the protocols. The only package that imports ray.

The driver sees a :class:`~rlvr.protocols.RolloutEngine` and a
:class:`~rlvr.protocols.Learner`; behind them stand Ray actors, each a process of its own,
placed by one placement group per pool.
"""

from rlvr.cluster.learner_pool import LearnerPool
from rlvr.cluster.pools import RolloutPool
from rlvr.cluster.resources import check_plan
from rlvr.cluster.start import rollout_pool, training_pools

__all__ = ["LearnerPool", "RolloutPool", "check_plan", "rollout_pool", "training_pools"]
