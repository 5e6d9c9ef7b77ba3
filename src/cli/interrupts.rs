//! Ctrl-C and requests to terminate: the first asks training to stop, the second ends the process.
//!
//! One request may come as several signals within a moment: `timeout` sends its signal to the process and
//! then to its group. So only what comes a moment later is the second.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::terminal::note;

/// Exit codes as shells have them: 128 and the signal's number.
const CODES: [(i32, u8); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// Signals that come within this are one request.
const MOMENT: Duration = Duration::from_millis(200);

/// From now on a write beyond the bound on the size of files (ulimit -f) is an error, which can be
/// told, and not the end of the process.
pub fn catch_file_size_limit() {
    #[cfg(unix)]
    if let Err(e) = flag::register(signal_hook::consts::SIGXFSZ, Arc::default()) {
        log::debug!("the bound on the size of files will end the process: {e}");
    }
}

/// What signals have come. Dropped, it leaves handlers behind: the next signal ends the process.
#[derive(Debug, Default)]
pub struct Interrupts {
    raised: Arc<AtomicBool>,
    /// From a moment after the first signal on.
    next_ends: Arc<AtomicBool>,
    code: Arc<AtomicUsize>,
}

impl Interrupts {
    /// From now on signals are caught.
    pub fn catch() -> Self {
        let interrupts = Interrupts::default();
        if let Err(e) = interrupts.register() {
            note(&format!("Ctrl-C will not be handled: {e}"));
        }
        interrupts
    }

    fn register(&self) -> io::Result<()> {
        self.watch()?;
        for (signal, code) in CODES {
            flag::register_conditional_shutdown(signal, i32::from(code), self.next_ends.clone())?;
            flag::register_usize(signal, self.code.clone(), usize::from(code))?;
            flag::register(signal, self.raised.clone())?;
        }
        Ok(())
    }

    /// Begins to wait for a signal, and for a moment after it.
    fn watch(&self) -> io::Result<()> {
        let (raised, next_ends) = (self.raised.clone(), self.next_ends.clone());
        let watch = move || {
            while !raised.load(Ordering::Relaxed) {
                if next_ends.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(MOMENT);
            }
            thread::sleep(MOMENT);
            next_ends.store(true, Ordering::Relaxed);
        };
        let thread = thread::Builder::new().name("interrupts".into());
        thread.spawn(watch).map(drop)
    }

    /// Has a signal come?
    pub fn came(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// The exit code for the signal that came last.
    pub fn exit_code(&self) -> ExitCode {
        let code = self.code.load(Ordering::Relaxed);
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.next_ends.store(true, Ordering::Relaxed);
    }
}
