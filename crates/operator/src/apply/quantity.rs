//! Kubernetes quantities by their value, so that `0.5` and `500m` are the same.

/// The value in billionths, or nothing when the text is no quantity.
pub fn parse(text: &str) -> Option<i128> {
    const BILLION: i128 = 1_000_000_000;
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (factor, divisor): (i128, i128) = match suffix {
        "" => (BILLION, 1),
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "k" => (BILLION, 1).times(1_000),
        "M" => (BILLION, 1).times(1_000_000),
        "G" => (BILLION, 1).times(BILLION),
        "T" => (BILLION, 1).times(1_000 * BILLION),
        "P" => (BILLION, 1).times(1_000_000 * BILLION),
        "E" => (BILLION, 1).times(BILLION * BILLION),
        "Ki" => (BILLION << 10, 1),
        "Mi" => (BILLION << 20, 1),
        "Gi" => (BILLION << 30, 1),
        "Ti" => (BILLION << 40, 1),
        "Pi" => (BILLION << 50, 1),
        "Ei" => (BILLION << 60, 1),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let power: i32 = digits.parse().ok()?;
            let scale = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (BILLION, scale) } else { (BILLION.checked_mul(scale)?, 1) }
        }
    };
    let negative = number.starts_with('-');
    let digits = number.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    let below = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divisor)?;
    let value = all.checked_mul(factor)? / below;
    Some(if negative { -value } else { value })
}

/// Multiplies the first of a pair; keeps the table above readable.
trait Times {
    fn times(self, by: i128) -> Self;
}

impl Times for (i128, i128) {
    fn times(self, by: i128) -> Self {
        (self.0 * by, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_same_amount_in_other_words() {
        for (a, b) in [
            ("0.5", "500m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1536Mi", "1.5Gi"),
            ("2G", "2000M"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1e-3", "1m"),
            ("100u", "0.1m"),
            ("1.", "1"),
            ("-1", "-1000m"),
        ] {
            assert_eq!(parse(a), parse(b), "{a} {b}");
            assert!(parse(a).is_some(), "{a}");
        }
        assert_ne!(parse("1Gi"), parse("1G"));
    }

    #[test]
    fn what_is_no_quantity() {
        for text in ["", "abc", "Gi", "1Zi", "1.2.3", "."] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
