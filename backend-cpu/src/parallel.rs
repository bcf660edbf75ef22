//! When and how work is spread over the threads of `rayon`'s pool.

use std::ops::Range;

/// Below this many nanoseconds of one thread's work, work stays on the calling thread: waking another takes some 60 µs
/// where the system has put it to sleep.
pub(crate) const WORTH_NS: usize = 150_000;

/// Calls `work` with ranges that together are `0..items`: in one piece on the calling thread where the work is not worth
/// more (`cost_ns` is a guess of what all of it takes one thread), else in even parts on all threads, the calling one
/// included. Gives the first error.
pub(crate) fn split<E: Send>(
    items: usize,
    cost_ns: usize,
    work: impl Fn(Range<usize>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    if items <= 1 || cost_ns < WORTH_NS {
        return work(0..items);
    }
    split_wide(items, &work)
}

#[inline(never)]
fn split_wide<E: Send>(items: usize, work: &(dyn Fn(Range<usize>) -> Result<(), E> + Sync)) -> Result<(), E> {
    let parts = rayon::current_num_threads().min(items);
    if parts <= 1 {
        return work(0..items);
    }
    let part = |number: usize| number * items / parts..(number + 1) * items / parts;
    let failure = std::sync::Mutex::new(None);
    let run = |number: usize| {
        if let Err(error) = work(part(number)) {
            *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
        }
    };
    rayon::in_place_scope(|scope| {
        for number in 1..parts {
            let run = &run;
            scope.spawn(move |_scope| run(number));
        }
        run(0);
    });
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_parts_are_the_whole() {
        for (items, cost) in [(0, 0), (1, usize::MAX), (7, 0), (7, usize::MAX), (1000, usize::MAX)] {
            let seen = Mutex::new(vec![0; items]);
            split(items, cost, |range| {
                for number in range {
                    seen.lock().unwrap()[number] += 1;
                }
                Ok::<(), ()>(())
            })
            .unwrap();
            assert!(seen.into_inner().unwrap().iter().all(|&count| count == 1), "{items}");
        }
    }

    #[test]
    fn an_error_of_any_part_is_given() {
        assert_eq!(split(10, usize::MAX, |range| if range.contains(&9) { Err("nine") } else { Ok(()) }), Err("nine"));
    }
}
