//! What a machine cannot run is said, not passed over.

use std::sync::Once;

use super::say::say;

/// Are there to be no tests on a GPU here?
pub fn gpu_is_skipped() -> bool {
    static SAID: Once = Once::new();
    let skipped = std::env::var_os("BPTT_SKIP_GPU_TESTS").is_some_and(|value| value == "1");
    if skipped {
        SAID.call_once(|| say("GPU tests are skipped: BPTT_SKIP_GPU_TESTS is set"));
    }
    skipped
}
