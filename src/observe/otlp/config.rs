//! Where to export to, how often, and how much.

use std::env;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::connection::https::HttpsError;
use crate::net::setters;
use crate::net::tls::TlsConnector;

/// How an [`Otlp`](super::Otlp) exports.
///
/// | setting | default | why |
/// |---|---|---|
/// | [`endpoint`](field@Self::endpoint) | `http://localhost:4317`, over HTTP port 4318 | those of OTLP |
/// | [`protocol`](field@Self::protocol) | gRPC | every collector has it |
/// | [`headers`](field@Self::headers) | none | |
/// | [`tls`](field@Self::tls) | the system's roots | |
/// | [`service_name`](field@Self::service_name) | `millpond` | |
/// | [`sample_ratio`](field@Self::sample_ratio) | 1 | all traces, as OpenTelemetry does; a busy proxy needs less, such as 0.01 |
/// | [`follows_parent`](field@Self::follows_parent) | yes | that of OpenTelemetry: a trace is exported whole or not at all |
/// | [`is_enabled`](field@Self::is_enabled) | yes | |
/// | [`timeout`](field@Self::timeout) | 10 s | that of OpenTelemetry |
/// | [`span_interval`](field@Self::span_interval) | 5 s | that of OpenTelemetry |
/// | [`metric_interval`](field@Self::metric_interval) | 60 s | that of OpenTelemetry |
/// | [`max_spans`](field@Self::max_spans) | 2048 | that of OpenTelemetry: 2 MB, if a span takes 1 KB. Of each text in a span 1 KiB is kept, so that clients with long paths can make that 4 MB |
#[derive(Clone)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// The collector: `http://` or `https://`, a host, and a port, without a user and without a query. Over HTTP, `/v1/traces` and
    /// `/v1/metrics` are added to its path.
    pub endpoint: Option<String>,
    /// gRPC or HTTP.
    pub protocol: OtlpProtocol,
    /// Headers of all requests, such as a token.
    pub headers: HeaderMap,
    /// Makes the TLS connections to an endpoint with `https://`.
    pub tls: Option<TlsConnector>,
    /// The name of the program in traces and metrics. The variable `OTEL_RESOURCE_ATTRIBUTES` adds attributes.
    pub service_name: String,
    /// The share of traces that are exported, from 0 to 1, of those that begin here.
    pub sample_ratio: f64,
    /// Whether a trace of a client is exported if, and only if, the client says that it is sampled. Otherwise
    /// [`sample_ratio`](field@Self::sample_ratio) decides of it, too.
    pub follows_parent: bool,
    /// Whether anything is exported at all.
    pub is_enabled: bool,
    /// The time that a request may take, connecting included.
    pub timeout: Duration,
    /// How long spans wait for others, unless there are 512.
    pub span_interval: Duration,
    /// The time from one snapshot of the metrics to the next.
    pub metric_interval: Duration,
    /// The most spans that wait. Beside them, 512 may be on their way.
    pub max_spans: usize,
}

/// How the messages are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// gRPC: HTTP/2, without TLS by prior knowledge.
    #[default]
    Grpc,
    /// Protobuf over HTTP, HTTP/1.1 without TLS.
    HttpProtobuf,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: OtlpProtocol::default(),
            headers: HeaderMap::new(),
            tls: None,
            service_name: "millpond".to_owned(),
            sample_ratio: 1.0,
            follows_parent: true,
            is_enabled: true,
            timeout: Duration::from_secs(10),
            span_interval: Duration::from_secs(5),
            metric_interval: Duration::from_secs(60),
            max_spans: 2048,
        }
    }
}

impl OtlpConfig {
    setters! {
        protocol: OtlpProtocol,
        headers: HeaderMap,
        tls: Option<TlsConnector>,
        sample_ratio: f64,
        follows_parent: bool,
        is_enabled: bool,
        timeout: Duration,
        span_interval: Duration,
        metric_interval: Duration,
        max_spans: usize,
    }

    /// Sets [`endpoint`](field@Self::endpoint).
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets [`service_name`](field@Self::service_name).
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = name.into();
        self
    }

    /// The settings of OpenTelemetry's variables, and the defaults: `OTEL_EXPORTER_OTLP_ENDPOINT`, `_PROTOCOL`, `_HEADERS` and
    /// `_TIMEOUT`, `OTEL_SERVICE_NAME`, `OTEL_SDK_DISABLED`, `OTEL_TRACES_SAMPLER` with its `_ARG`, `OTEL_BSP_SCHEDULE_DELAY`,
    /// `OTEL_BSP_MAX_QUEUE_SIZE` and `OTEL_METRIC_EXPORT_INTERVAL`. Times are in milliseconds. Empty ones count as absent.
    ///
    /// # Errors
    ///
    /// Which variable is wrong. The samplers are `always_on`, `always_off`, `traceidratio`, and the same after `parentbased_`.
    pub fn from_env() -> Result<Self, OtlpError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(value_of: impl Fn(&str) -> Option<String>) -> Result<Self, OtlpError> {
        let value_of = |name| value_of(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, value: &str| OtlpError::new(format!("{name}={value} is wrong"));
        let number = |name| match value_of(name) {
            Some(value) => value.parse::<u64>().map(Some).map_err(|_| wrong(name, &value)),
            None => Ok(None),
        };
        let time = |name| Ok::<_, OtlpError>(number(name)?.map(Duration::from_millis));

        let mut config = Self { endpoint: value_of("OTEL_EXPORTER_OTLP_ENDPOINT"), ..Self::default() };
        let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
        match value_of(name).as_deref() {
            None | Some("grpc") => {}
            Some("http/protobuf") => config.protocol = OtlpProtocol::HttpProtobuf,
            Some(other) => {
                return Err(OtlpError::new(format!("{name}={other} is neither grpc nor http/protobuf")));
            }
        }
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        for pair in value_of(name).unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty()) {
            // The value may be a secret.
            let wrong = || OtlpError::new(format!("{name} is wrong: write KEY=VALUE,KEY=VALUE"));
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let key = HeaderName::try_from(key.trim()).map_err(|_| wrong())?;
            let value = percent_decoded(value.trim()).ok_or_else(wrong)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            config.headers.append(key, value);
        }
        if let Some(name) = value_of("OTEL_SERVICE_NAME") {
            config.service_name = name;
        }
        let name = "OTEL_SDK_DISABLED";
        if let Some(value) = value_of(name) {
            let is_disabled = value.to_ascii_lowercase().parse::<bool>().map_err(|_| wrong(name, &value))?;
            config.is_enabled = !is_disabled;
        }
        let (name, ratio) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
        match (value_of(name), value_of(ratio)) {
            (None, None) => {}
            (None, Some(_)) => return Err(OtlpError::new(format!("{ratio} needs {name}"))),
            (Some(value), argument) => {
                let sampler = value.strip_prefix("parentbased_");
                config.follows_parent = sampler.is_some();
                config.sample_ratio = match (sampler.unwrap_or(&value), argument) {
                    ("always_on", _) | ("traceidratio", None) => 1.0,
                    ("always_off", _) => 0.0,
                    ("traceidratio", Some(argument)) => {
                        argument.parse().map_err(|_| wrong(ratio, &argument))?
                    }
                    _ => return Err(wrong(name, &value)),
                };
            }
        }
        config.timeout = time("OTEL_EXPORTER_OTLP_TIMEOUT")?.unwrap_or(config.timeout);
        config.span_interval = time("OTEL_BSP_SCHEDULE_DELAY")?.unwrap_or(config.span_interval);
        config.metric_interval = time("OTEL_METRIC_EXPORT_INTERVAL")?.unwrap_or(config.metric_interval);
        if let Some(spans) = number("OTEL_BSP_MAX_QUEUE_SIZE")? {
            config.max_spans = usize::try_from(spans).unwrap_or(usize::MAX);
        }
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<(), OtlpError> {
        let wrong = |what: &str| Err(OtlpError::new(what.to_owned()));
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return wrong("the sample ratio is not between 0 and 1");
        }
        if self.span_interval.is_zero() || self.metric_interval.is_zero() || self.timeout.is_zero() {
            return wrong("an interval or a time limit is 0");
        }
        Ok(())
    }

    /// Where it exports to: the [endpoint](field@Self::endpoint), or the default of the protocol.
    #[must_use]
    pub fn endpoint_or_default(&self) -> &str {
        match (&self.endpoint, self.protocol) {
            (Some(endpoint), _) => endpoint,
            (None, OtlpProtocol::Grpc) => "http://localhost:4317",
            (None, OtlpProtocol::HttpProtobuf) => "http://localhost:4318",
        }
    }
}

/// The scheme, the host and the port of an endpoint: the rest may be secret.
pub(super) fn place(endpoint: &str) -> String {
    let Ok(uri) = endpoint.parse::<Uri>() else { return "what is no URL".to_owned() };
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    let scheme = uri.scheme_str().map_or_else(String::new, |scheme| format!("{scheme}://"));
    format!("{scheme}{}{port}", uri.host().unwrap_or_default())
}

/// Without what may be secret: the values of headers, and the rest of the endpoint.
impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, protocol, headers, tls, service_name, sample_ratio, follows_parent, .. } = self;
        let Self { is_enabled, timeout, span_interval, metric_interval, max_spans, .. } = self;
        f.debug_struct("OtlpConfig")
            .field("endpoint", &endpoint.as_deref().map(place))
            .field("protocol", protocol)
            .field("headers", &headers.keys().collect::<Vec<_>>())
            .field("tls", tls)
            .field("service_name", service_name)
            .field("sample_ratio", sample_ratio)
            .field("follows_parent", follows_parent)
            .field("is_enabled", is_enabled)
            .field("timeout", timeout)
            .field("span_interval", span_interval)
            .field("metric_interval", metric_interval)
            .field("max_spans", max_spans)
            .finish()
    }
}

/// `%20` for a space, for example: OpenTelemetry's headers are written as those of W3C Baggage.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        decoded.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(decoded)
}

/// What is wrong with the settings of an export.
#[derive(Clone, Debug)]
pub struct OtlpError {
    text: String,
    source: Option<HttpsError>,
}

impl OtlpError {
    pub(super) fn new(text: String) -> Self {
        Self { text, source: None }
    }

    pub(super) fn of_endpoint(endpoint: &str, source: HttpsError) -> Self {
        Self { text: format!("cannot export to {}", place(endpoint)), source: Some(source) }
    }
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for OtlpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as &dyn Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::otlp::Otlp;

    fn read(variables: &[(&str, &str)]) -> Result<OtlpConfig, OtlpError> {
        OtlpConfig::from_variables(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_that_are_absent_or_empty_leave_the_defaults() {
        let (absent, empty) = (read(&[]).unwrap(), read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "")]).unwrap());
        assert_eq!(format!("{absent:?}"), format!("{:?}", OtlpConfig::default()));
        assert_eq!(format!("{empty:?}"), format!("{absent:?}"));
    }

    #[test]
    fn times_are_in_milliseconds() {
        let config = read(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")]).unwrap();
        assert_eq!(config.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn the_default_port_depends_on_the_protocol() {
        let config = read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).unwrap();
        assert_eq!(config.endpoint_or_default(), "http://localhost:4318");
        assert_eq!(OtlpConfig::default().endpoint_or_default(), "http://localhost:4317");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).unwrap_err().to_string();
        assert_eq!(error, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json is neither grpc nor http/protobuf");
    }

    #[test]
    fn headers_are_percent_decoded() {
        let config =
            read(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20grain,x-mill = 1")]).unwrap();
        assert_eq!(config.headers["authorization"], "Bearer grain");
        assert_eq!(config.headers["x-mill"], "1");
        assert!(read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=%2")]).is_err());
    }

    #[test]
    fn a_header_is_not_shown() {
        let config = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=grain, x-mill = 1")]).unwrap();
        assert!(!format!("{config:?}").contains("grain"), "{config:?}");
        let error = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "grain")]).unwrap_err().to_string();
        assert!(!error.contains("grain"), "{error}");
    }

    #[test]
    fn no_header_is_shown() {
        let headers =
            HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("grain"))]);
        let config = OtlpConfig::default().headers(headers);
        assert!(!format!("{config:?}").contains("grain"), "{config:?}");
    }

    #[test]
    fn of_an_endpoint_only_the_place_is_shown() {
        let config = OtlpConfig::default().endpoint("https://miller:grain@[::1]:4317/flour?key=grain");
        let shown = format!("{config:?}");
        assert!(shown.contains("\"https://[::1]:4317\""), "{shown}");
        assert!(!shown.contains("grain"), "{shown}");
    }

    #[test]
    fn an_endpoint_with_a_secret_is_refused_without_showing_it() {
        for endpoint in ["http://miller:grain@10.0.0.9:4317", "http://10.0.0.9:4318/?key=grain"] {
            let error = Otlp::new(OtlpConfig::default().endpoint(endpoint)).map(drop).unwrap_err();
            let text = format!("{error} {:?}", error.source().map(ToString::to_string));
            assert!(text.contains("10.0.0.9"), "{text}");
            assert!(!text.contains("grain"), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_not_shown() {
        let error =
            Otlp::new(OtlpConfig::default().endpoint("http://miller:gr ain@mill")).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "the endpoint is no URL: invalid uri character");
        assert!(error.source().is_none());
    }

    fn sampler(name: &str, ratio: &str) -> Result<(bool, f64), String> {
        let config = read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", ratio)]);
        config.map(|config| (config.follows_parent, config.sample_ratio)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_samplers_of_opentelemetry_are_known() {
        assert_eq!(sampler("always_on", ""), Ok((false, 1.0)));
        assert_eq!(sampler("always_off", "0.5"), Ok((false, 0.0)));
        assert_eq!(sampler("traceidratio", "0.5"), Ok((false, 0.5)));
        assert_eq!(sampler("parentbased_always_on", ""), Ok((true, 1.0)));
        assert_eq!(sampler("parentbased_always_off", ""), Ok((true, 0.0)));
        assert_eq!(sampler("parentbased_traceidratio", ""), Ok((true, 1.0)));
    }

    #[test]
    fn a_sampler_that_is_not_known_is_refused() {
        assert_eq!(sampler("xray", ""), Err("OTEL_TRACES_SAMPLER=xray is wrong".to_owned()));
        assert_eq!(sampler("", "0.5"), Err("OTEL_TRACES_SAMPLER_ARG needs OTEL_TRACES_SAMPLER".to_owned()));
    }

    #[test]
    fn all_can_be_turned_off() {
        assert!(!read(&[("OTEL_SDK_DISABLED", "True")]).unwrap().is_enabled);
        assert!(read(&[("OTEL_SDK_DISABLED", "1")]).is_err());
    }
}
