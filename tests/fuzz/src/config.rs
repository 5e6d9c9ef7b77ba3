//! Settings: read, checked, and written again as they are.

use bptt::config::Config;

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Ok(config) = Config::from_toml(input) else {
        return;
    };
    if config.check().is_err() {
        return;
    }
    let toml = config.to_toml().expect("checked settings are written");
    assert_eq!(
        Config::from_toml(toml.as_bytes()).expect("and read again"),
        config
    );
    let _ = config.source();
    bptt::train::plan(&config, 1 << 20).expect("a plan");
    let schedule = config.schedule(1000);
    for step in [0, 1, 999, u64::MAX] {
        assert!(schedule.rate(step, 7) >= 0.0);
    }
}
