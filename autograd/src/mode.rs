//! Whether operations are recorded.

use std::cell::Cell;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations of this thread are recorded for gradients.
#[inline]
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// Runs `f` without recording: results do not require gradients. Only this thread is concerned.
///
/// ```
/// # use autograd::{Tensor, no_grad};
/// # use tensor_core::reference::Reference;
/// let x = Tensor::<Reference>::scalar(2.0).requires_grad_();
/// let y = no_grad(|| &x * 3);
/// assert!(!y.requires_grad());
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_grad(false, f)
}

/// Runs `f` with recording, inside of [`no_grad`] too.
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    with_grad(true, f)
}

/// Runs `f` with recording switched on or off, and restores what was before, also after a panic.
pub fn with_grad<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENABLED.set(self.0);
        }
    }
    let _restore = Restore(ENABLED.replace(enabled));
    f()
}
