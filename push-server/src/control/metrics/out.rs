//! Metrics whose values are read elsewhere, as OpenMetrics text.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Writes metrics with known values.
pub(super) struct Out<'a>(pub(super) DescriptorEncoder<'a>);

impl Out<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    pub(super) fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in samples {
            ConstGauge::new(count).encode(metric.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    /// Counters with several labels.
    pub(super) fn counters_by<'v, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
        samples: impl IntoIterator<Item = ([&'v str; LABELS], u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (values, count) in samples {
            let mut pairs = [("", ""); LABELS];
            for (pair, (label, value)) in pairs.iter_mut().zip(labels.into_iter().zip(values)) {
                *pair = (label, value);
            }
            ConstCounter::new(count).encode(metric.encode_family(&pairs)?)?;
        }
        Ok(())
    }

    pub(super) fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: Option<&str>,
        samples: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in samples {
            match label {
                Some(label) => {
                    ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)?;
                }
                None => return ConstCounter::new(count).encode(metric),
            }
        }
        Ok(())
    }
}
