"""Where scan positions come from, by configuration: headers, files of a series, position boxes."""
