//! Random cases that shrink: of a computation that fails, steps are taken away and choices made simpler as long as it still
//! fails, so that what is reported is short.

use super::case::{Check, Failure, wrong};
use super::values::Rng;
use proptest::arbitrary::any;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::{Cell, RefCell};

/// What a random computation is made from.
pub(super) struct Choices {
    /// For shapes, dtypes and operands.
    pub(super) operands: Rng,
    /// For each step.
    pub(super) steps: Vec<Rng>,
    /// For each result that is asked for.
    pub(super) results: Vec<Rng>,
}

/// Shrinking ends after so many milliseconds: on some devices each try compiles a kernel.
const SHRINKING: u32 = 20_000;

/// Checks a computation of at most so many steps, the one that the seed stands for. If it fails, the simplest that was found to fail
/// is reported.
pub(super) fn shrinking(seed: u64, most_steps: usize, check: impl FnMut(&mut Choices) -> Check) -> Check {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 1000,
        max_shrink_time: SHRINKING,
        ..Config::default()
    };
    // They shrink in this order, and steps that are gone need no shrinking.
    let computations = (vec(any::<[u16; 8]>(), 1..=most_steps), vec(any::<[u16; 2]>(), 1..=4), any::<[u16; 16]>());
    let (check, denied) = (RefCell::new(check), Cell::new(false));
    let outcome = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &key)).run(
        &computations,
        |(steps, results, operands)| {
            let mut choices = Choices {
                operands: Rng::of(&operands),
                steps: steps.iter().map(|step| Rng::of(step)).collect(),
                results: results.iter().map(|result| Rng::of(result)).collect(),
            };
            match (check.borrow_mut())(&mut choices) {
                Ok(()) => Ok(()),
                Err(Failure::Denied) => {
                    denied.set(true);
                    Ok(())
                }
                Err(Failure::Wrong(what)) => Err(TestCaseError::fail(what)),
            }
        },
    );
    match outcome {
        Ok(()) if denied.into_inner() => Err(Failure::Denied),
        Ok(()) => Ok(()),
        Err(TestError::Fail(what, _) | TestError::Abort(what)) => Err(wrong(what.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same_computation() {
        let sizes = |seed| {
            let mut sizes = Vec::new();
            let found = shrinking(seed, 16, |choices| {
                sizes.push((choices.operands.bits(), choices.steps.len(), choices.results.len()));
                Ok(())
            });
            assert!(found.is_ok() && sizes.len() == 1);
            sizes
        };
        assert_eq!(sizes(5), sizes(5));
        assert_ne!(sizes(5), sizes(6));
    }

    #[test]
    fn what_fails_is_made_small() {
        // Steps are numbers below ten; a computation fails that has a 7 and later an 8 or 9.
        let mut failed = 0;
        for seed in 0..8 {
            let found = shrinking(seed, 25, |choices| {
                let numbers: Vec<usize> = choices.steps.iter_mut().map(|step| step.below(10)).collect();
                let seven = numbers.iter().position(|&number| number == 7);
                let fails = seven.is_some_and(|seven| numbers[seven..].iter().any(|&number| number > 7));
                if fails { Err(wrong(format!("{numbers:?}"))) } else { Ok(()) }
            });
            if let Err(Failure::Wrong(what)) = found {
                assert!(["[7, 8]", "[7, 9]"].contains(&what.as_str()), "seed {seed}: {what}");
                failed += 1;
            }
        }
        assert!(failed > 2, "{failed} of 8 failed");
    }

    #[test]
    fn what_is_denied_stays_so() {
        assert!(matches!(shrinking(1, 4, |_| Err(Failure::Denied)), Err(Failure::Denied)));
    }
}
