//! Times in RFC 3339, as Go reads and writes them.
//!
//! Source: Go 1.26 time/format.go, time/format_rfc3339.go; apimachinery v0.36.3
//! pkg/apis/meta/v1/{time,micro_time}.go.

const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
const MICROS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The text in UTC with whole seconds or six digits after the point; `None` when it is so
/// already. The error is Go's.
pub(crate) fn canonical(text: &str, micro: bool) -> Result<Option<String>, String> {
    let bytes = text.as_bytes();
    let layout = if micro { MICROS } else { SECONDS };
    let parsed = Reader {
        text,
        at: 0,
        layout,
    }
    .read(micro)?;
    let zone_is_z = bytes.last() == Some(&b'Z');
    let length = if micro { 27 } else { 20 };
    if zone_is_z && bytes.len() == length {
        return Ok(None);
    }
    let (year, month, day) = civil(parsed.seconds.div_euclid(86400));
    let second = parsed.seconds.rem_euclid(86400);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let date = format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
    Ok(Some(match micro {
        true => format!("{date}.{:06}Z", parsed.nanos / 1000),
        false => format!("{date}Z"),
    }))
}

struct Moment {
    seconds: i64,
    nanos: u32,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    layout: &'static str,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn refuse(&self, element: &str) -> String {
        format!(
            "parsing time {} as {:?}: cannot parse {} as {element:?}",
            quote(self.text),
            self.layout,
            quote(self.rest())
        )
    }

    fn number(&mut self, digits: usize, element: &str) -> Result<i64, String> {
        let found = self.text.as_bytes().get(self.at..self.at + digits);
        match found {
            Some(part) if part.iter().all(u8::is_ascii_digit) => {
                self.at += digits;
                Ok(part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
            }
            _ => Err(self.refuse(element)),
        }
    }

    fn mark(&mut self, mark: &str) -> Result<(), String> {
        match self.rest().starts_with(mark) {
            true => {
                self.at += mark.len();
                Ok(())
            }
            false => Err(self.refuse(mark)),
        }
    }

    fn range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quote(self.text))
    }

    fn read(mut self, micro: bool) -> Result<Moment, String> {
        let year = self.number(4, "2006")?;
        self.mark("-")?;
        let month = self.number(2, "01")?;
        if !(1..=12).contains(&month) {
            return Err(self.range("month"));
        }
        self.mark("-")?;
        let day = self.number(2, "02")?;
        self.mark("T")?;
        // The one element in which Go takes a single digit.
        let short = self
            .text
            .as_bytes()
            .get(self.at + 1)
            .is_none_or(|b| !b.is_ascii_digit());
        let hour = self.number(if short { 1 } else { 2 }, "15")?;
        if hour > 23 {
            return Err(self.range("hour"));
        }
        self.mark(":")?;
        let minute = self.number(2, "04")?;
        if minute > 59 {
            return Err(self.range("minute"));
        }
        self.mark(":")?;
        let second = self.number(2, "05")?;
        if second > 59 {
            return Err(self.range("second"));
        }
        let nanos = self.fraction(micro)?;
        let offset = self.zone()?;
        if !self.rest().is_empty() {
            return Err(format!(
                "parsing time {}: extra text: {}",
                quote(self.text),
                quote(self.rest())
            ));
        }
        if day < 1 || day > days_in(year, month) {
            return Err(self.range("day"));
        }
        let seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
        Ok(Moment { seconds, nanos })
    }

    /// Six digits when the layout asks for them; else any number of digits may follow.
    fn fraction(&mut self, micro: bool) -> Result<u32, String> {
        let digits = match self.rest().strip_prefix(['.', ',']) {
            Some(rest) => rest.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        if micro && digits < 6 {
            return Err(self.refuse(".000000"));
        }
        if digits == 0 {
            return Ok(0);
        }
        if micro && digits > 6 {
            self.at += 7;
            return Err(self.refuse("Z07:00"));
        }
        let part = self.rest().get(1..=digits).unwrap_or_default();
        let nanos = part.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanos = nanos.fold(0, |n, d| n * 10 + u32::from(d - b'0'));
        self.at += digits + 1;
        Ok(nanos)
    }

    fn zone(&mut self) -> Result<i64, String> {
        let rest = self.rest().as_bytes();
        let (sign, digits) = match rest {
            [b'Z', ..] => {
                self.at += 1;
                return Ok(0);
            }
            [b'+', digits @ ..] => (1, digits),
            [b'-', digits @ ..] => (-1, digits),
            _ => return Err(self.refuse("Z07:00")),
        };
        let [h1, h2, b':', m1, m2, ..] = *digits else {
            return Err(self.refuse("Z07:00"));
        };
        if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
            return Err(self.refuse("Z07:00"));
        }
        let two = |a: u8, b: u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
        let (hours, minutes) = (two(h1, h2), two(m1, m2));
        if hours > 24 {
            return Err(self.range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(self.range("time zone offset minute"));
        }
        self.at += 6;
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

/// Text as Go's time package quotes it: bytes beyond ASCII in hexadecimal.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for b in text.bytes() {
        match b {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(b as char);
            }
            b' '..=0x7f => out.push(b as char),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

fn leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Howard Hinnant's civil calendar).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
