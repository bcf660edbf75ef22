//! Arrays against plain obvious Rust: every view, promotion rule, reduction, index operation and error sentence, on a
//! backend that checks what the front promises to every backend.

mod attention;
mod constants;
mod conv;
mod create;
mod fused;
mod index;
mod misuse;
mod nested;
mod promotion;
mod reduce;
mod rows;
mod strict;
mod views;

use proptest::test_runner::{Config, FileFailurePersistence};

/// The settings of property tests: few cases under Miri, which is slow and may not write files.
fn cases(count: u32) -> Config {
    let persistence: Option<Box<dyn proptest::test_runner::FailurePersistence>> =
        if cfg!(miri) { None } else { Some(Box::new(FileFailurePersistence::WithSource("regressions"))) };
    Config { cases: if cfg!(miri) { 3 } else { count }, failure_persistence: persistence, ..Config::default() }
}
