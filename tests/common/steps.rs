//! What a process does at the steps that the log tells of (`milepost::step`): mostly it dies there.

/// Has `each` called with the number and the name of every step that this process reaches.
pub(crate) fn at_each_step(each: impl Fn(u32, &str) + Send + Sync + 'static) {
    log::set_logger(Box::leak(Box::new(Steps(each)))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
}

struct Steps<F>(F);

impl<F: Fn(u32, &str) + Send + Sync> log::Log for Steps<F> {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "milepost::step"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = record.args().to_string();
            let (number, name) = message.split_once(' ').unwrap();
            (self.0)(number.parse().unwrap(), name);
        }
    }

    fn flush(&self) {}
}
