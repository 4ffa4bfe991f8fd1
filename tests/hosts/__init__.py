"""Two hosts on one machine, and the checks that need them (`make hosts-check`)."""
