"""Names of the metrics by which a training compares the policies that an experiment can try.

The metrics of a model version have one value per policy, on the same users: NDCG at 10 over all
items. `champion` is the policy that serves by itself.
"""

from __future__ import annotations


def name_policy_metric(policy: str) -> str:
    """Return the name of the value of a policy.

    >>> name_policy_metric("buy_again")
    'policy_buy_again'
    """
    return f"policy_{policy}"


def name_policy_p_value(policy: str) -> str:
    """Return the name of the p-value of a policy beside the champion's (paired, two-sided).

    >>> name_policy_p_value("buy_again")
    'policy_buy_again_p'
    """
    return f"policy_{policy}_p"
