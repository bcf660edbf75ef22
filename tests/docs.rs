//! The code in `docs/adding-a-backend.md` is that of the examples, which are compiled and run.

const PAGE: &str = include_str!("../docs/adding-a-backend.md");
const EXAMPLES: [&str; 2] = [
    include_str!("../tensor-core/examples/minimal_backend.rs"),
    include_str!("../tensor-core/examples/growing_backend.rs"),
];

#[test]
fn code_about_backends_is_the_examples_own() {
    let mut blocks = 0;
    for block in PAGE.split("```rust\n").skip(1) {
        let code = block.split("```").next().unwrap();
        assert!(EXAMPLES.iter().any(|example| example.contains(code)), "no example has this code:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 10, "the page shows code in {blocks} places");
}
