//! Durations as people read them.

use std::time::Duration;

/// `0.4 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`: the shortest form that still says what matters.
pub fn human(duration: Duration) -> String {
    let tenths = duration.as_millis().saturating_add(50) / 100;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = tenths / 10;
    if seconds < 3600 {
        return format!("{} min {:02} s", seconds / 60, seconds % 60);
    }
    format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::human;
    use std::time::Duration;

    #[test]
    fn each_size_has_its_form() {
        let read = |millis| human(Duration::from_millis(millis));
        assert_eq!(read(0), "0.0 s");
        assert_eq!(read(449), "0.4 s");
        assert_eq!(read(59_949), "59.9 s");
        assert_eq!(read(59_960), "1 min 00 s");
        assert_eq!(read(125_000), "2 min 05 s");
        assert_eq!(read(3_720_000), "1 h 02 min");
    }
}
