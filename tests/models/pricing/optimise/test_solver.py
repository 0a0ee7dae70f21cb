from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pricing.optimise.aggregate_limits import limit_changes
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.lagrangian import minimise_dual
from models.pricing.optimise.local_search import improve, measure_shortfall, repair
from models.pricing.optimise.problem import Choices, Limit, Links, Problem
from models.pricing.optimise.solver import solve
from tests.shops.optimiser_oracle import draw_problem, leave_unlinked, solve_exactly

PROBLEMS = st.builds(
    draw_problem,
    st.integers(0, 10**6),
    n_chains=st.integers(1, 8),
    length=st.integers(1, 4),
    n_prices=st.integers(2, 7),
    floor=st.sampled_from([None, 0.95, 1.0, 1.02, 1.05]),
    most_changes=st.sampled_from([None, 0, 2, 5, 9]),
    n_groups=st.integers(0, 3),
    equal=st.booleans(),
)


def keeps_orders(problem, selection):
    links = problem.links
    return all(
        links.first[selection[item]] <= selection[before] < links.end[selection[item]]
        for item, before in enumerate(links.previous)
        if before >= 0
    )


@settings(max_examples=150)
@given(PROBLEMS)
def test_small_problems_are_solved_as_highs_solves_them(problem):
    if len(ChainProgramme(problem.choices, problem.links).find_infeasible_chains()):
        assert solve_exactly(problem) is None
        return
    best, solution = solve_exactly(problem), solve(problem)
    assert keeps_orders(problem, solution.selection)
    if best is None:
        assert solution.broken and all(broken_rule.hard for broken_rule in solution.broken)
        return
    assert (
        solution.broken == ()
        and measure_shortfall(problem, problem.compute_slack(solution.selection)) == 0
    )
    tolerance = 1e-6 * max(abs(best), 1)
    assert solution.value <= best + tolerance and best <= solution.bound + tolerance
    assert solution.bound - solution.value <= solution.gap * abs(solution.bound) + tolerance
    assert solution.value == pytest.approx(best, rel=2e-6)


@settings(max_examples=150)
@given(PROBLEMS)
def test_without_highs_the_optimum_lies_between_what_is_found_and_the_bound(problem):
    programme = ChainProgramme(problem.choices, problem.links)
    best = solve_exactly(problem)
    if best is None:
        return
    dual = minimise_dual(problem, programme.maximise, 80)
    tolerance = 1e-6 * max(abs(best), 1)
    assert dual.bound >= best - tolerance
    selection = repair(problem, dual.selections[0], dual.multipliers)
    if measure_shortfall(problem, problem.compute_slack(selection)) == 0:
        better = improve(problem, selection)
        assert problem.total_value(selection) <= problem.total_value(better) <= best + tolerance
        assert measure_shortfall(problem, problem.compute_slack(better)) == 0 and keeps_orders(
            problem, better
        )


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_chains_without_limits_are_solved_exactly(seed, n_chains, length):
    problem = draw_problem(seed, n_chains=n_chains, length=length, floor=None, most_changes=None)
    solution, best = solve(problem), solve_exactly(problem)
    assert solution.value == pytest.approx(best) == pytest.approx(solution.bound)


def two_items():
    """Each may keep its price, worth 0, or change it: worth 10 and 6, for 4 and 1 of revenue."""
    choices = Choices(
        np.array([0, 2, 4]), np.array([100, 110, 200, 210]), np.array([0.0, 10.0, 0.0, 6.0])
    )
    return choices, np.array([0.0, -4.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0, 1.0])


def test_a_cap_leaves_the_most_valuable_change():
    choices, _, changed = two_items()
    solution = solve(
        Problem(choices, leave_unlinked(2, 4), (limit_changes("changes", changed, 2, 1),))
    )
    assert (solution.selection.tolist(), solution.value) == ([1, 2], 10.0)


def test_a_floor_takes_the_change_that_costs_least():
    choices, revenue, _ = two_items()
    floor = Limit("revenue floor", np.zeros(2, np.int64), revenue, np.array([-2.0]))
    solution = solve(Problem(choices, leave_unlinked(2, 4), (floor,)))
    assert (solution.selection.tolist(), solution.value) == ([0, 3], 6.0)
    assert solution.bound == pytest.approx(6.0)


def test_what_cannot_be_kept_gives_way_by_priority_and_no_further_than_it_must():
    choices, revenue, changed = two_items()
    # Revenue may fall by -1 at most, and yet both must change: -changed >= -2 is kept, at least two
    # changes are asked.
    floor = Limit("revenue floor", np.zeros(2, np.int64), revenue, np.array([-1.0]))
    both = Limit("changes", np.zeros(2, np.int64), changed, np.array([2.0]))
    problem = Problem(choices, leave_unlinked(2, 4), (floor, both))
    first = solve(problem, {"revenue floor": 10, "changes": 90})
    assert first.selection.tolist() == [1, 3]
    assert [
        (broken_rule.rule, broken_rule.asked, broken_rule.reached, broken_rule.hard)
        for broken_rule in first.broken
    ] == [("revenue floor", -1.0, -5.0, False)]
    second = solve(problem, {"revenue floor": 90, "changes": 10})
    assert second.selection.tolist() == [0, 3]  # one change is the most that the floor allows
    assert [
        (broken_rule.rule, broken_rule.asked, broken_rule.reached) for broken_rule in second.broken
    ] == [("changes", 2.0, 1.0)]
    assert [broken_rule.hard for broken_rule in solve(problem).broken] == [True]


def test_of_many_groups_only_those_fall_short_that_must():
    choices, revenue, _ = two_items()
    limit = Limit("group margin", np.array([0, 1]), revenue, np.array([1.0, -0.5]))
    solution = solve(Problem(choices, leave_unlinked(2, 4), (limit,)), {"group margin": 50})
    assert solution.selection.tolist() == [0, 2]
    assert [
        (broken_rule.asked, broken_rule.reached, broken_rule.n_groups)
        for broken_rule in solution.broken
    ] == [(1.0, 0.0, 1)]


def test_a_chain_without_choices_that_go_together_is_named():
    choices = Choices(np.array([0, 1, 2, 3, 4]), np.array([5, 9, 7, 3]), np.zeros(4))
    # Items 2 and 3 follow 0 and 1 and may not be cheaper: 7 after 5 is fine, 3 after 9 is not.
    links = Links(np.array([-1, -1, 0, 1]), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert ChainProgramme(choices, links).find_infeasible_chains().tolist() == [1]


def test_the_same_problem_gives_the_same_answer():
    problem = draw_problem(3, n_chains=200, length=3, n_prices=9, most_changes=150)
    first, second = solve(problem), solve(replace(problem))
    assert (first.selection == second.selection).all() and first.bound == second.bound


def test_a_thousand_items_come_within_a_thousandth_of_the_bound():
    problem = draw_problem(
        5, n_chains=300, length=4, n_prices=11, floor=1.01, most_changes=300, n_groups=5
    )
    solution = solve(problem)
    assert solution.broken == () and solution.gap <= 0.001
