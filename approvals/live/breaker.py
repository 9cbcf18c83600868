"""The circuit breaker of this process for the Redis that carries messages to pages."""

from django.conf import settings

from agentcore.plain.breaker import Breaker

redis = Breaker(settings.REDIS_URL, meanwhile="pages poll", look_again_seconds=settings.REDIS_LOOK_SECONDS)
