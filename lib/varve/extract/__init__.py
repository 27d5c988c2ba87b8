"""Systems and folders -> raw files. Runs beside the source too: no Spark in here."""
