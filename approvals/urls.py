from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("", lambda r: HttpResponse("x"), name="queue"),
    path("sign-in/", lambda r: HttpResponse("x"), name="sign_in"),
    path("sign-in/<str:token>/", lambda r, token: HttpResponse("x"), name="sign_in_link"),
]
