//! What a machine cannot run is said, not passed over; where nothing may be missing, it fails.

use super::say::say;

/// Is this environment variable set to 1?
pub fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// Says that something is not tested here, and why. With BPTT_REQUIRE_ALL=1 that is a failure.
#[track_caller]
pub fn skip(why: &str) {
    let line = format!("SKIPPED: {why}");
    assert!(
        !is_set("BPTT_REQUIRE_ALL"),
        "{line}, but BPTT_REQUIRE_ALL is set"
    );
    say(&line);
}
