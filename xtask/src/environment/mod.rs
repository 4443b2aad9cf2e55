//! Containers in which scripts run, and their recycling.
