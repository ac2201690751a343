//! A limit of descriptors for the command.

/// For `start_by`: a program that executes another with this limit of descriptors. The other inherits none from whoever runs
/// the tests: the limit is one of numbers, so an inherited 10 would take a place, and an inherited 251 only look like it.
pub(crate) fn with_descriptors(limit: usize) -> [String; 5] {
    const SCRIPT: &str = r#"for fd in /proc/self/fd/*; do
        ((${fd##*/} < 3)) || eval "exec ${fd##*/}>&-"
    done
    exec prlimit "$@""#;
    ["bash", "-c", SCRIPT, "bash", &format!("--nofile={limit}:{limit}")].map(str::to_owned)
}
