"""Networks: functions with a value, an input gradient and a value along a ray."""
