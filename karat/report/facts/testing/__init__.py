"""What confirmed runs were found to do beside the metric of the study: other scores, and shifted images."""
