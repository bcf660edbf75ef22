//! How errors reach the user: as a panic at the user's line, or as a `Result` inside [`attempt`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tensor_core::{Error, Result};

thread_local! {
    static ATTEMPTS: Cell<usize> = const { Cell::new(0) };
}

/// The value, or a panic at the caller's line with the error's sentence.
#[track_caller]
#[inline]
pub(crate) fn ok<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(error),
    }
}

#[track_caller]
#[cold]
fn fail(error: Error) -> ! {
    if ATTEMPTS.get() > 0 {
        // No message is printed: whoever called `attempt` gets the error.
        resume_unwind(Box::new(error));
    }
    panic!("{error}");
}

/// Runs `f` and turns what would be a panic of this library, such as shapes that do not fit, into an error. For programs
/// that must survive input they did not make. Panics that are not this library's pass through.
///
/// ```
/// # use autograd::{Tensor, attempt};
/// # use tensor_core::reference::Reference;
/// let a = Tensor::<Reference>::zeros([2, 3]);
/// let error = attempt(|| a.matmul(&a)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "matmul: expected as many columns on the left as rows on the right, got [2, 3] and [2, 3] (3 and 2)"
/// );
/// ```
///
/// # Errors
/// What `f` did wrong.
pub fn attempt<R>(f: impl FnOnce() -> R) -> Result<R> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            ATTEMPTS.set(ATTEMPTS.get() - 1);
        }
    }
    ATTEMPTS.set(ATTEMPTS.get() + 1);
    let leave = Leave;
    // Tensors are values: whatever `f` was doing with them when it stopped, none is half changed.
    let result = catch_unwind(AssertUnwindSafe(f));
    drop(leave);
    result.map_err(|payload| match payload.downcast::<Error>() {
        Ok(error) => *error,
        Err(other) => resume_unwind(other),
    })
}
