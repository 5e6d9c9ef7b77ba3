//! Whether there are tests on a GPU.

use std::sync::Once;

use super::skip::{is_set, skip};

/// Are there to be no tests on a GPU here?
pub fn gpu_is_skipped() -> bool {
    static SAID: Once = Once::new();
    let skipped = is_set("BPTT_SKIP_GPU_TESTS");
    if skipped {
        SAID.call_once(|| skip("everything on a GPU: BPTT_SKIP_GPU_TESTS is set"));
    }
    skipped
}
